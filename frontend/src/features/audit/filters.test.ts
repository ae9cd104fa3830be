import { expect, it } from 'vitest';

import { ALL, pick } from './filters';
import { LINE } from './sample';

const REFUSED = { ...LINE, number: 2, outcome: 'refused' as const, code: 'not_found', address: null };

it.each([
  [ALL, [3, 2]],
  [{ ...ALL, outcome: 'refused' as const }, [2]],
  [{ ...ALL, text: ' COMPLETE AN ' }, [3, 2]],
  [{ ...ALL, text: '127.0' }, [3]],
  [{ ...ALL, text: 'not_found' }, [2]],
  [{ ...ALL, text: 'nobody' }, []],
])('%o picks %j', (picked, numbers) => {
  expect(pick([LINE, REFUSED], picked).map((line) => line.number)).toEqual(numbers);
});
