import { describe, expect, it } from 'vitest';

import { hue, inWords, picture } from './holdings';
import type { HostedVersion } from './queries';

const SIZE = { width: 10, height: 10 };

function held(
  name: string,
  megabytes: number | null,
  state: HostedVersion['state'] = 'ready',
): HostedVersion {
  return {
    model_id: name,
    name,
    account_id: 'a',
    number: 2,
    state,
    memory_bytes: megabytes === null ? null : megabytes * 1e6,
  };
}

describe('picture', () => {
  it('draws the largest first, and all of a few', () => {
    const { blocks, rest } = picture([held('small', 1), held('large', 9), held('unknown', null)], 3, SIZE);
    expect(blocks.map((block) => block.version.name)).toEqual(['large', 'small', 'unknown']);
    expect(rest).toBeNull();
  });

  it('says how many are not drawn, of those on the page and of those behind it', () => {
    const page = Array.from({ length: 100 }, (_, at) => held(`m${at}`, 1));
    const { blocks, rest } = picture(page, 340, SIZE);
    expect(blocks.length + (rest?.count ?? 0)).toBe(340);
    expect(blocks).toHaveLength(13);
    expect(rest?.place.width).toBeGreaterThan(0);
  });

  it('is nothing of nothing', () => {
    expect(picture([], 0, SIZE)).toEqual({ blocks: [], rest: null });
  });
});

it('keeps the colour of a model', () => {
  expect(hue('e80d16fb')).toBe(hue('e80d16fb'));
  expect(new Set(['a', 'b', 'c', 'd'].map(hue)).size).toBe(4);
});

it.each([
  [held('digits', 0.34), 'digits, version 2: loaded, 340 kB'],
  [held('digits', null, null), 'digits, version 2: on its way, not measured'],
  [held('digits', 1, 'stored'), 'digits, version 2: on disk, 1.0 MB'],
])('says %o', (version, said) => {
  expect(inWords(version)).toBe(said);
});
