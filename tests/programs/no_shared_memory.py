"""Executes its arguments where clone(2) refuses children that share a memory and are no threads, as QEMU's user mode does."""
import ctypes
import os
import struct
import sys

CLONE, CLONE_VM, CLONE_VFORK, CLONE_THREAD = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x100, 0x4000, 0x10000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, ANY, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, EINVAL = 0x7FFF0000, 0x00050000 | 22

program = [
    (LOAD, 0, 0, 0),  # the number of the call
    (EQUAL, 0, 4, CLONE),
    (LOAD, 0, 0, 16),  # its first argument, the lower half
    (ANY, 0, 2, CLONE_VM),
    (ANY, 1, 0, CLONE_THREAD | CLONE_VFORK),
    (RETURN, 0, 0, EINVAL),
    (RETURN, 0, 0, ALLOW),
]
instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(instructions)))
libc = ctypes.CDLL(None, use_errno=True)
for call in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0)]:
    if libc.prctl(*call) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
os.execvp(sys.argv[1], sys.argv[1:])
