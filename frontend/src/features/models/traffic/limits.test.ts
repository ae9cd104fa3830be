import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { DEFAULT_LIMITS, LIMIT_FIELDS } from './limits';

interface Described {
  components: {
    schemas: {
      Guard: { properties: Record<string, { default: number; minimum?: number; maximum?: number }> };
    };
  };
}

const { components } = JSON.parse(readFileSync('../docs/openapi.json', 'utf8')) as Described;
const described = components.schemas.Guard.properties;

describe('limits', () => {
  it('begin as the API has them', () => {
    const defaults = Object.fromEntries(
      Object.entries(described).map(([name, told]) => [name, told.default]),
    );
    expect(DEFAULT_LIMITS).toEqual(defaults);
  });

  it('are asked for, all of them, in the range that the API takes', () => {
    const asked = Object.fromEntries(LIMIT_FIELDS.map(({ name, min, max }) => [name, [min, max]]));
    const taken = Object.fromEntries(
      Object.entries(described).map(([name, { minimum, maximum }]) => [name, [minimum, maximum]]),
    );
    expect(asked).toEqual(taken);
  });
});
