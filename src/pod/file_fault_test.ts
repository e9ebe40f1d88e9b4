import assert from "node:assert/strict";
import { KrunError } from "../core/errors.ts";
import { explained, fileFault } from "./file_fault.ts";
import { ERRNO, FileError } from "./libc_files.ts";

Deno.test("fileFault() says NoSpace for a full disk or quota, and TargetUnwritable for all else", () => {
  for (const [name, errno] of [...Object.entries(ERRNO), ["other", 99] as const]) {
    const fault = fileFault(new FileError(errno, "write", "/x/file"), 'write volume "/x"') as KrunError;
    assert.equal(fault.code, ["ENOSPC", "EDQUOT"].includes(name) ? "NoSpace" : "TargetUnwritable", name);
    assert.match(fault.message, /^Cannot write volume "\/x": write "\/x\/file": [^\n]*[^.]$/);
    assert.match(fault.hint, /^[a-z][^\n;]*[^.]$/, name);
  }
});

Deno.test("explained() lets every other error through as it is", () => {
  for (const error of [new KrunError("TargetInUse", "m", "h"), new TypeError("x")]) {
    assert.throws(() =>
      explained("x", () => {
        throw error;
      }), (thrown) => thrown === error);
  }
});

Deno.test("fileFault() says what to do about the state that was found", () => {
  const full = "/dev/shm/krun-0123456789abcdef0123456789abcdef/db/..2031/password";
  const cases: [errno: number, call: string, path: string, says: RegExp, hint: RegExp][] = [
    [ERRNO.EACCES, "mkdir", "/x", /permission is denied$/, /this user may write/],
    [ERRNO.EROFS, "mkdir", "/x", /read-only$/, /writable folder/],
    [ERRNO.ENOSPC, "write", "/x", /no space is left$/, /make room/],
    [ERRNO.ENOSPC, "write", full, /no space is left in memory file system "\/dev\/shm"$/, /"\/dev\/shm" .*--shm-size/],
    [ERRNO.EDQUOT, "write", "/x", /quota is used up$/, /raise the quota/],
    [ERRNO.EPERM, "mkdir", "/x", /not permitted$/, /chattr/],
    [ERRNO.EPERM, "chown", "/x", /not permitted$/, /as root/],
    [ERRNO.EPERM, "symlink", "/x", /not permitted$/, /has symlinks/],
    [ERRNO.ENAMETOOLONG, "mkdir", "/x", /too long$/, /shorter/],
    [ERRNO.ENOTDIR, "open", "/x", /something else$/, /move that away/],
    [ERRNO.ENOTDIR, "open", "/etc/passwd", /: it is no folder$/, /MESH_BASE_DIR/],
    [ERRNO.ENOTDIR, "mkdir", "/etc/passwd", /something else$/, /move that away/],
    [ERRNO.ELOOP, "open", "/x", /a link stands there$/, /remove the link/],
    [ERRNO.EEXIST, "mkdir", "/x", /stands there$/, /move it away/],
    [ERRNO.EBUSY, "rename", "/x", /mount point$/, /unmount/],
    [ERRNO.ENOENT, "open", "/x", /does not exist$/, /start krun again/],
    [ERRNO.EMFILE, "open", "/x", /too many files/, /ulimit/],
    [ERRNO.EIO, "write", "/x", /device/, /check the disk/],
  ];
  for (const [errno, call, path, says, hint] of cases) {
    const fault = fileFault(new FileError(errno, call, path), "do it") as KrunError;
    assert.match(fault.message, says);
    assert.match(fault.hint, hint);
  }
});
