import { useRouter } from '@tanstack/react-router';
import { type ReactElement, useEffect } from 'react';

/** To where somebody who is logged in wanted to go. `next`: a path of this site. */
export function Onward({ next = '/models' }: { next: string | undefined }): ReactElement | null {
  const { history } = useRouter();
  useEffect(() => history.replace(next), [history, next]);
  return null;
}
