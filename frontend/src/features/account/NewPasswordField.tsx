import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { limitsQuery } from '@/lib/limits';

import { PasswordField } from './PasswordField';

interface Props {
  label: string;
  value: string;
  error: string | undefined;
  onChange: (password: string) => void;
}

/** A password to be chosen, with the rules of this deployment. */
export function NewPasswordField(props: Props): ReactElement {
  const { data: limits } = useQuery(limitsQuery);
  const range = limits?.accounts.password_length;
  const length = range ? `At least ${range.min} characters; ` : '';
  return (
    <PasswordField
      {...props}
      autoComplete="new-password"
      {...(range ? { maxLength: range.max } : {})}
      description={`${length}${length ? 'l' : 'L'}ength is what counts, so take a few words. None of the usual ones, and not the e-mail address.`}
    />
  );
}
