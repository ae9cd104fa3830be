/** Without those that look alike. 32 of them, so that each random byte is a fair choice. */
const LETTERS = 'abcdefghjkmnpqrstuvwxyz23456789?';
const GROUPS = 4;
const GROUP = 5;

/** `k7wm2-…`: 20 random letters, 100 bits, in groups that can be read out. `random`: 20 bytes of it. */
export function madeUpPassword(
  random: Uint8Array = crypto.getRandomValues(new Uint8Array(GROUPS * GROUP)),
): string {
  const letters = Array.from(random, (byte) => LETTERS[byte % LETTERS.length] ?? '');
  return Array.from({ length: GROUPS }, (_, group) =>
    letters.slice(group * GROUP, (group + 1) * GROUP).join(''),
  ).join('-');
}
