import { Anchor, Button, Stack, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { type ReactElement, useState } from 'react';

import { api, call, type Schema } from '@/lib/api/client';
import { sessionQuery, siteQuery } from '@/lib/session';

import { AuthPage } from './AuthPage';
import { FormError } from './FormError';
import { HowToGetIn } from './HowToGetIn';
import { Onward } from './Onward';
import { PasswordField } from './PasswordField';
import { fieldRefusals } from './refusals';
import { useSignIn } from './useSignIn';

const route = getRouteApi('/login');

export function LogInPage(): ReactElement {
  const { next } = route.useSearch();
  const { data: account } = useQuery(sessionQuery);
  const { data: site } = useQuery(siteQuery);
  if (account) return <Onward next={next} />;
  const foot = site?.sign_up_open ? (
    <>
      No account yet?{' '}
      <Anchor inherit renderRoot={(props) => <Link to="/signup" search={next ? { next } : {}} {...props} />}>
        Sign up
      </Anchor>
    </>
  ) : (
    site && <HowToGetIn />
  );
  return (
    <AuthPage title="Log in" foot={foot}>
      <LogInForm />
    </AuthPage>
  );
}

function LogInForm(): ReactElement {
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const logIn = useSignIn((body: Schema['LogIn']) => call(api.POST('/v1/sessions', { body })));
  const wrong = fieldRefusals(logIn.error, ['email', 'password']);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        logIn.mutate({ email, password });
      }}
    >
      <Stack>
        <TextInput
          label="E-mail address"
          type="email"
          name="email"
          autoComplete="username"
          required
          autoFocus
          value={email}
          error={wrong.email}
          onChange={(event) => setEmail(event.currentTarget.value)}
        />
        <PasswordField
          label="Password"
          name="password"
          autoComplete="current-password"
          value={password}
          error={wrong.password}
          onChange={setPassword}
        />
        {logIn.error && Object.keys(wrong).length === 0 && (
          <FormError error={logIn.error} title="You are not logged in" refusedAt={logIn.submittedAt} />
        )}
        <Button type="submit" loading={logIn.isPending} fullWidth>
          Log in
        </Button>
      </Stack>
    </form>
  );
}
