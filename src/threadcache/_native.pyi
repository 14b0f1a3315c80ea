from ._mailbox import Mailbox as Mailbox

sees_gil: int
"""Whether the mailbox can see if the GIL is taken."""

LONGEST: int
"""How many times as long as it is to be a spin may be; one is that long after a miss."""

def name_thread(name: bytes, /) -> None: ...
def set_cores(cores: int, /) -> None: ...
