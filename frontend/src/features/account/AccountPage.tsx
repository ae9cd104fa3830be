import { Alert } from '@mantine/core';
import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';
import { useAccount } from '@/lib/session';

import classes from './AccountPage.module.css';
import { KeepsPanel } from './KeepsPanel';
import { PasswordPanel } from './PasswordPanel';
import { ProfilePanel } from './ProfilePanel';
import { SessionsPanel } from './SessionsPanel';

/** Who one is here, and from where. */
export function AccountPage(): ReactElement {
  const account = useAccount();
  if (account.password_expired) return <ChooseAPassword />;
  return (
    <>
      <PageHeader
        title="Account"
        description="Who you are here, what you may keep, and where you are logged in."
      />
      <div className={classes.panels}>
        <ProfilePanel account={account} />
        <KeepsPanel keeps={account.keeps} />
        <PasswordPanel email={account.email} />
        <div className={classes.wide}>
          <SessionsPanel />
        </div>
      </div>
    </>
  );
}

function ChooseAPassword(): ReactElement {
  const { email } = useAccount();
  return (
    <>
      <PageHeader title="Choose a password of your own" />
      <div className={classes.only}>
        <Alert color="orange" variant="light" title="One more step" mb="md">
          The password that you logged in with was given to you by an operator, who knows it. Choose another
          one: then every page opens.
        </Alert>
        <PasswordPanel email={email} />
      </div>
    </>
  );
}
