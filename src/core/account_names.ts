/**
 * Names of users and groups. In: the texts of /etc/passwd and /etc/group. Out: names by number, and home folders by name. Rules:
 * passwd(5), group(5); the first line of a number or name counts.
 *
 * @module
 */

/** Names that a machine has for its users. `undefined` for whom it does not know. */
export interface AccountNames {
  userName(uid: number): string | undefined;
  groupName(gid: number): string | undefined;
  /** The home folder of a user's name. */
  home(user: string): string | undefined;
}

/** Reads both texts; empty ones know nobody. */
export function accountNames({ passwd, group }: { readonly passwd: string; readonly group: string }): AccountNames {
  const [users, groups, homes] = [new Map<number, string>(), new Map<number, string>(), new Map<string, string>()];
  for (const [name = "", , uid = "", , , home = ""] of rows(passwd)) {
    note(users, { id: uid, name });
    if (home !== "" && !homes.has(name)) homes.set(name, home);
  }
  for (const [name = "", , gid = ""] of rows(group)) note(groups, { id: gid, name });
  return {
    userName: (uid) => users.get(uid),
    groupName: (gid) => groups.get(gid),
    home: (user) => homes.get(user),
  };
}

function rows(text: string): string[][] {
  return text.split("\n").map((line) => line.split(":")).filter(([name]) => name !== "");
}

function note(names: Map<number, string>, { id, name }: { readonly id: string; readonly name: string }): void {
  if (/^\d+$/.test(id) && !names.has(Number(id))) names.set(Number(id), name);
}
