import type { AuditLine } from './queries';

/** An entry, for tests. */
export const LINE: AuditLine = {
  number: 3,
  at: '2026-01-02T03:04:05Z',
  actor: 'ada@example.org',
  action: 'upload.complete',
  outcome: 'ok',
  code: null,
  object_type: 'upload',
  object_id: 'm1',
  object_name: 'version 1',
  address: '127.0.0.1',
  user_agent: 'curl/8',
  request_id: 'r1',
  hash: 'ab',
};
