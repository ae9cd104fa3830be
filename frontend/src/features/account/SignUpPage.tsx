import { Anchor, Button, Stack, Text, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { type ReactElement, useState } from 'react';

import { Loaded } from '@/components/Loaded';
import { api, call, type Schema } from '@/lib/api/client';
import { sessionQuery, siteQuery } from '@/lib/session';

import { AuthPage } from './AuthPage';
import { FormError } from './FormError';
import { HowToGetIn } from './HowToGetIn';
import { NewPasswordField } from './NewPasswordField';
import { Onward } from './Onward';
import { fieldRefusals } from './refusals';
import { useSignIn } from './useSignIn';

const route = getRouteApi('/signup');

export function SignUpPage(): ReactElement {
  const { next } = route.useSearch();
  const { data: account } = useQuery(sessionQuery);
  const site = useQuery(siteQuery);
  if (account) return <Onward next={next} />;
  return (
    <AuthPage
      title="Sign up"
      description={site.data?.sign_up_open && welcome(site.data.sign_up)}
      foot={
        <>
          You have an account?{' '}
          <Anchor
            inherit
            renderRoot={(props) => <Link to="/login" search={next ? { next } : {}} {...props} />}
          >
            Log in
          </Anchor>
        </>
      }
    >
      <Loaded query={site} isEmpty={(data) => !data.sign_up_open} empty={<Closed />}>
        {() => <SignUpForm />}
      </Loaded>
    </AuthPage>
  );
}

function welcome(mode: Schema['SignUpMode']): string {
  return mode === 'first'
    ? 'You are the first here: your account will be the operator’s, who makes the others.'
    : 'An account owns models and keys. Nobody sees anything of another’s.';
}

function Closed(): ReactElement {
  return (
    <Text>
      Nobody signs up here alone. <HowToGetIn />
    </Text>
  );
}

function SignUpForm(): ReactElement {
  const [name, setName] = useState('');
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const signUp = useSignIn((body: Schema['SignUp']) => call(api.POST('/v1/accounts', { body })));
  const wrong = fieldRefusals(signUp.error, ['name', 'email', 'password']);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        signUp.mutate({ name, email, password });
      }}
    >
      <Stack>
        <TextInput
          label="Name"
          description="For others to know you by. You may leave it out."
          name="name"
          autoComplete="name"
          maxLength={100}
          value={name}
          error={wrong.name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <TextInput
          label="E-mail address"
          type="email"
          name="email"
          autoComplete="username"
          required
          value={email}
          error={wrong.email}
          onChange={(event) => setEmail(event.currentTarget.value)}
        />
        <NewPasswordField label="Password" value={password} error={wrong.password} onChange={setPassword} />
        {signUp.error && Object.keys(wrong).length === 0 && (
          <FormError error={signUp.error} title="No account was made" refusedAt={signUp.submittedAt} />
        )}
        <Button type="submit" loading={signUp.isPending} fullWidth>
          Make the account
        </Button>
      </Stack>
    </form>
  );
}
