import { wideText } from './printing';
import { REQUEST_FILE, TOKEN_VARIABLE, type Written } from './call';

/** With the standard library. The body is JSON as it is: Go's own types for it would only be in the way. */
export function go({ url, body }: Written): string {
  const large = body === null;
  const imports = ['encoding/json', 'fmt', 'log', 'net/http', 'os', ...(large ? [] : ['strings']), 'time'];
  const opened = large
    ? `	body, err := os.Open(${wideText(REQUEST_FILE)})
	if err != nil {
		log.Fatal(err)
	}
	request, err := http.NewRequest("POST", url, body)`
    : '	request, err := http.NewRequest("POST", url, strings.NewReader(body))';
  return `package main

import (
${imports.map((name) => `	"${name}"`).join('\n')}
)

const url = ${wideText(url)}
${large ? '' : `\nconst body = \`${rawString(body)}\`\n`}
func main() {
${opened}
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("${TOKEN_VARIABLE}"))
	request.Header.Set("Content-Type", "application/json")

	client := http.Client{Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()

	var answer struct {
		Result json.RawMessage
		Error  struct{ Message string }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		log.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s", response.Status, answer.Error.Message)
	}
	fmt.Println(string(answer.Result))
}
`;
}

/** JSON between Go's back quotes, which end at the next one. One can only be inside of a string of it. */
function rawString(json: string): string {
  return json.replaceAll('`', '\\u0060');
}
