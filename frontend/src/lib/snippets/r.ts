import { isPlain } from '@/lib/json';

import { wideText } from './printing';
import { REQUEST_FILE, TOKEN_VARIABLE, type Written } from './call';

/** With httr. The body is JSON as it is: R has no 64-bit integers, and no list of one number. */
export function r({ url, inputs, body }: Written): string {
  const exact = !isPlain(inputs);
  const given =
    body === null
      ? `body <- upload_file(${wideText(REQUEST_FILE)}, type = "application/json")`
      : `# From a matrix x: toJSON(list(model = …, inputs = list(name = x)), digits = NA, auto_unbox = TRUE)
body <- ${rawString(body)}`;
  const shown = exact
    ? 'cat(answer, "\\n") # fromJSON would round whole numbers beyond 2^53'
    : `result <- fromJSON(answer)$result
cat(toJSON(result, digits = NA, na = "null"), "\\n")`;
  return `library(httr)
library(jsonlite)

${given}
response <- POST(
  ${wideText(url)},
  add_headers(Authorization = paste("Bearer", Sys.getenv("${TOKEN_VARIABLE}"))),
  content_type_json(),
  body = body,
  timeout(60)
)
answer <- content(response, "text", encoding = "UTF-8")
if (http_error(response)) stop(status_code(response), ": ", fromJSON(answer)$error$message)

${shown}
`;
}

/** With as many dashes as it takes for the text not to end it. */
function rawString(text: string): string {
  let dashes = '';
  while (text.includes(`)${dashes}"`)) dashes += '-';
  return `r"${dashes}(${text})${dashes}"`;
}
