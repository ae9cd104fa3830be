import { Button } from '@mantine/core';
import type { ReactElement } from 'react';

import { NewPasswordField } from './NewPasswordField';
import { madeUpPassword } from './passwords';

interface Props {
  value: string;
  error: string | undefined;
  onChange: (password: string) => void;
}

/** A password for somebody else: made up, unless one is typed. */
export function GivenPasswordField(props: Props): ReactElement {
  return (
    <div>
      <NewPasswordField label="Password" {...props} />
      <Button mt={6} size="compact-sm" variant="default" onClick={() => props.onChange(madeUpPassword())}>
        Make up another one
      </Button>
    </div>
  );
}
