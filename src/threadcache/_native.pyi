from ._mailbox import Mailbox as Mailbox

sees_gil: int
"""Whether the mailbox can see if the GIL is taken."""

def name_thread(name: bytes, /) -> None: ...
def set_cores(cores: int, /) -> None: ...
