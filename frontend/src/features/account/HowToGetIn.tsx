import type { ReactElement } from 'react';

const LOCAL: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

/** Where nobody signs up by himself. */
export function HowToGetIn(): ReactElement {
  if (!LOCAL.includes(window.location.hostname)) {
    return <>Accounts are made by the operators of this deployment. Ask one of them.</>;
  }
  return (
    <>
      No log-in yet? On the computer where it runs: <code>make account EMAIL=you@example.org</code>
    </>
  );
}
