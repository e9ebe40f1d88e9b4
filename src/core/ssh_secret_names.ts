/**
 * Names that the debug SSH server has for what it reads and keeps. They are apart, for they are needed where nothing of it is loaded.
 *
 * @module
 */

/** The Secret of who may log in, as the original had it. */
export const SSH_SECRET = "sshdebug";

/** krun's own host key, in the state folder of its base. */
export const SSH_HOST_KEY = "ssh_host_ed25519_key";
