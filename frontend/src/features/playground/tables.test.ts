import { describe, expect, it } from 'vitest';

import { type Json, parseJson, writeJson } from '@/lib/json';

import { parseTable, TableError, tableText } from './tables';
import type { Kind } from './values';

describe('parseTable', () => {
  it.each<[string, string, Kind, number | null, string]>([
    ['CSV', '1,2\n3,4', 'float', 2, '[[1,2],[3,4]]'],
    ['TSV with a header', 'age\theight\n40\t1.8\n', 'float', 2, '[[40,1.8]]'],
    ['semicolons and Windows lines', '1;2\r\n3;4\r\n', 'float', 2, '[[1,2],[3,4]]'],
    ['blanks', '  1   2\n 3 4  \n', 'float', 2, '[[1,2],[3,4]]'],
    ['one column', '1\n2\n3', 'integer', 1, '[[1],[2],[3]]'],
    ['empty lines', '1,2\n\n3,4\n\n', 'float', 2, '[[1,2],[3,4]]'],
    ['missing numbers', '1,\n,nan', 'float', 2, '[[1,null],[null,null]]'],
    ['quoted numbers', '"1","2"', 'float', 2, '[[1,2]]'],
    ['any width', '1,2,3\n4,5,6', 'float', null, '[[1,2,3],[4,5,6]]'],
    ['texts', 'a,"b, ""c""\nd"\n\'e\',', 'text', 2, '[["a","b, \\"c\\"\\nd"],["\'e\'",""]]'],
    ['a column of texts with tabs', 'one\ttwo; three', 'text', 1, '[["one\\ttwo; three"]]'],
    ['booleans with a header', 'good\ntrue\n0', 'bool', 1, '[[true],[false]]'],
    ['whole numbers beyond 2^53', '9223372036854775807', 'integer', 1, '[[9223372036854775807]]'],
  ])('%s', (_, text, kind, columns, json) => {
    expect(writeJson(parseTable(text, kind, columns))).toBe(json);
  });

  it.each<[string, string, Kind, number | null, string]>([
    ['a word', '1,2\n3,four', 'float', 2, 'Line 2, column 3: “four” is not a number.'],
    ['a short row', '1,2,3\n4,5', 'float', 3, 'Line 2, column 3: this row has 2 values, and 3 are expected.'],
    ['a long row', '1,2,3', 'float', 2, 'Line 1, column 5: this row has 3 values, and 2 are expected.'],
    [
      'a ragged table',
      '1,2\n1',
      'float',
      null,
      'Line 2, column 1: this row has 1 value, and 2 are expected.',
    ],
    ['a fraction', 'n\n\n1.5', 'integer', 1, 'Line 3, column 1: “1.5” is not a whole number.'],
    ['an open quote', 'a\n"b', 'text', 1, 'Line 2, column 1: a quote is not closed'],
    ['a cell after lines in quotes', '"a\nb",1\nc,d', 'integer', 2, 'Line 1, column 1'],
    ['a header alone', 'age,height', 'float', 2, 'Line 1, column 1: “age” is not a number.'],
    ['nothing', ' \n', 'float', 2, 'Paste at least one row.'],
  ])('points at %s', (_, text, kind, columns, says) => {
    const parse = () => parseTable(text, kind, columns);
    expect(parse).toThrow(TableError);
    expect(parse).toThrow(says);
  });
});

it.each<[string, Kind]>([
  ['[[1.50,null],[-2,3e5]]', 'float'],
  ['[["a, b","say \\"c\\""],[""," d\\n"]]', 'text'],
])('writes what it reads: %s', (json, kind) => {
  const value = parseJson(json) as Json[][];
  expect(parseTable(tableText(value), kind, 2)).toEqual(value);
});
