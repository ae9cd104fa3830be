import { describe, expect, it } from 'vitest';

import { csvText } from './csv';

describe('csvText', () => {
  it('ends every row, and writes nothing for null', () => {
    expect(
      csvText([
        ['a', 'b'],
        [1, null],
      ]),
    ).toBe('a,b\r\n1,\r\n');
  });

  it('quotes what would break a row', () => {
    expect(csvText([['a "b", c\nd']])).toBe('"a ""b"", c\nd"\r\n');
  });

  it.each(['=1+1', '+1', '-1', '@x', '\t=1'])('lets no spreadsheet run %s', (text) => {
    expect(csvText([[text]])).toBe(`'${text}\r\n`);
  });

  it('leaves numbers numbers', () => {
    expect(csvText([[-1]])).toBe('-1\r\n');
  });
});
