import './highlight.css';

import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import go from 'highlight.js/lib/languages/go';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import r from 'highlight.js/lib/languages/r';
import { type ReactElement, useMemo } from 'react';

import type { Language } from './Code';

Object.entries({ bash, go, javascript, json, python, r }).forEach(([name, grammar]) =>
  hljs.registerLanguage(name, grammar),
);

/** `code` with coloured words. The highlighter escapes what it is given. */
export default function Highlighted({ code, language }: { code: string; language: Language }): ReactElement {
  const html = useMemo(() => hljs.highlight(code, { language }).value, [code, language]);
  return <code dangerouslySetInnerHTML={{ __html: html }} />;
}
