import { Anchor } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactElement, ReactNode } from 'react';

interface Props {
  modelId: string;
  number: number;
  children: ReactNode;
}

/** To a version's report. */
export function VersionLink({ modelId, number, children }: Props): ReactElement {
  return (
    <Anchor
      inherit
      renderRoot={(props) => (
        <Link to="/models/$modelId/versions/$number" params={{ modelId, number }} {...props} />
      )}
    >
      {children}
    </Anchor>
  );
}
