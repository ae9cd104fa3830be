import { Button, Stack } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { type ReactElement, useState } from 'react';

import { Panel } from '@/components/Panel';
import { api, call, type Schema } from '@/lib/api/client';

import { FormError } from './FormError';
import { NewPasswordField } from './NewPasswordField';
import { PasswordField } from './PasswordField';
import { fieldRefusals } from './refusals';
import { useSignIn } from './useSignIn';

/** `email`: for password managers to know whose it is. */
export function PasswordPanel({ email }: { email: string }): ReactElement {
  const [password, setPassword] = useState('');
  const [chosen, setChosen] = useState('');
  const change = useSignIn((body: Schema['ChangePassword']) =>
    call(api.POST('/v1/account/password', { body })),
  );
  const { password: tooWeak, new_password: same } = fieldRefusals(change.error, ['password', 'new_password']);
  const wrong = tooWeak ?? same;
  const onSuccess = () => {
    setPassword('');
    setChosen('');
    notifications.show({
      color: 'green',
      message: 'Your password is changed. Everywhere else you are logged out.',
    });
  };
  return (
    <Panel title="Password" description="Changing it ends every other session.">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          change.mutate({ password, new_password: chosen }, { onSuccess });
        }}
      >
        <Stack>
          <input type="text" autoComplete="username" value={email} readOnly hidden />
          <PasswordField
            label="The password so far"
            autoComplete="current-password"
            value={password}
            onChange={setPassword}
          />
          <NewPasswordField label="The new one" value={chosen} error={wrong} onChange={setChosen} />
          {change.error && wrong === undefined && (
            <FormError
              error={change.error}
              title="The password is as it was"
              refusedAt={change.submittedAt}
            />
          )}
          <Button type="submit" loading={change.isPending}>
            Change the password
          </Button>
        </Stack>
      </form>
    </Panel>
  );
}
