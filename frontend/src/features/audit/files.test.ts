import { describe, expect, it } from 'vitest';

import { csv, json } from './files';
import { LINE } from './sample';

describe('csv', () => {
  it('has a head, one line an entry, and nothing for null', () => {
    expect(csv([LINE]).split('\r\n')).toEqual([
      'number,at,actor,action,outcome,code,object_type,object_id,object_name,address,user_agent,request_id,hash',
      '3,2026-01-02T03:04:05Z,ada@example.org,upload.complete,ok,,upload,m1,version 1,127.0.0.1,curl/8,r1,ab',
      '',
    ]);
  });
});

it('writes entries as they came', () => {
  expect(JSON.parse(json([LINE]))).toEqual([LINE]);
});
