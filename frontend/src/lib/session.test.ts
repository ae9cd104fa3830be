import { QueryClient, QueryObserver } from '@tanstack/react-query';
import type { Middleware } from 'openapi-fetch';
import { beforeEach, expect, it, vi } from 'vitest';

import { api } from '@/lib/api/client';

import { forgetAccount, sessionQuery } from './session';

const ADA = { id: 'ada' };
const BOB = { id: 'bob' };

let answer: unknown = null;
const answering: Middleware = { onRequest: () => Response.json(answer) };

beforeEach(() => {
  api.use(answering);
  return () => {
    api.eject(answering);
  };
});

it.each([
  ['another account', ADA, BOB, undefined],
  ['an account after none', null, BOB, undefined],
  ['the same account', ADA, { ...ADA, name: 'Ada' }, 'kept'],
])('%s', async (_, before, now, left) => {
  const client = new QueryClient();
  client.setQueryData(sessionQuery.queryKey, before as never);
  client.setQueryData(['models'], 'kept');
  client.setQueryData(['site'], 'for everybody');
  answer = now;
  await client.query({ ...sessionQuery, staleTime: 0 });
  expect(client.getQueryData(['models'])).toBe(left);
  expect(client.getQueryData(['site'])).toBe('for everybody');
});

it('has a page ask anew for what it shows of the account before', async () => {
  const client = new QueryClient();
  const queryFn = vi.fn(() => Promise.resolve('of the next'));
  client.setQueryData(['models'], 'of the one before');
  const shown = new QueryObserver(client, { queryKey: ['models'], queryFn, staleTime: Infinity });
  const leave = shown.subscribe(() => undefined);
  forgetAccount(client);
  expect(shown.getCurrentResult().data).toBeUndefined();
  await vi.waitFor(() => {
    expect(shown.getCurrentResult().data).toBe('of the next');
  });
  leave();
});
