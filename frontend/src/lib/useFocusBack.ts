import { useEffect, useState } from 'react';

/** For what is there only while it is open: the focus goes back to where it was, else to the page's content. */
export function useFocusBack(): void {
  const [before] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      const there = before instanceof HTMLElement && before !== document.body && before.isConnected;
      const target = there ? before : document.getElementById('main');
      requestAnimationFrame(() => target?.focus({ preventScroll: true }));
    },
    [before],
  );
}
