"""Python imports this when a process starts: recordings of some names do to their reader what broken decoders do."""

import os
import signal
import sys
import time
from pathlib import Path

if "reading_process" in " ".join(sys.orig_argv):
    from snac_tok.sources.recording import Recording

    read = Recording.read

    def deadly_read(recording, **options):
        """Die, hang or eat memory if the name says so; once only where the name has "once" in it."""
        stem = Path(recording.name).stem
        if "once" in stem:
            flag = Path(os.environ["DEADLY_FLAGS"]) / stem
            if flag.exists():
                return read(recording, **options)
            flag.touch()
        if "crash" in stem:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "killed" in stem:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in stem:
            time.sleep(100)
        if "bomb" in stem:
            bytearray(1 << 45)
        if "strange" in stem:
            raise RuntimeError("bad packet")
        found = read(recording, **options)
        return halfway(found) if "halfway" in stem and not hasattr(found, "samples") else found

    def halfway(sound):
        """Die after the second block."""
        blocks = type(sound).__iter__

        def dying(self):
            for number, block in enumerate(blocks(self)):
                if number == 2:
                    os.kill(os.getpid(), signal.SIGSEGV)
                yield block

        sound.__class__ = type("Dying", (type(sound),), {"__iter__": dying})
        return sound

    Recording.read = deadly_read
