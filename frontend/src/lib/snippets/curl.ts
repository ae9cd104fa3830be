import { REQUEST_FILE, TOKEN_VARIABLE, type Written } from './call';

/** The body comes as a here-document, in which nothing is special: no line of JSON is its end. */
export function curl({ url, body }: Written): string {
  const lines = [
    `curl --silent --show-error --fail-with-body ${shellText(url)} \\`,
    `  --header "Authorization: Bearer $${TOKEN_VARIABLE}" \\`,
    "  --header 'Content-Type: application/json' \\",
  ];
  if (body === null) return [...lines, `  --data-binary @${REQUEST_FILE}`, ''].join('\n');
  return [...lines, "  --data-binary @- <<'END'", body, 'END', ''].join('\n');
}

export function shellText(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
