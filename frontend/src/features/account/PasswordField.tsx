import { PasswordInput, type PasswordInputProps } from '@mantine/core';
import { type ReactElement, useState } from 'react';

interface Props extends Omit<PasswordInputProps, 'onChange'> {
  onChange: (password: string) => void;
}

/** A password that can be looked at, by keyboard as well. */
export function PasswordField({ onChange, ...props }: Props): ReactElement {
  const [visible, setVisible] = useState(false);
  return (
    <PasswordInput
      required
      {...props}
      visible={visible}
      onVisibilityChange={setVisible}
      onChange={(event) => onChange(event.currentTarget.value)}
      visibilityToggleButtonProps={{
        tabIndex: 0,
        'aria-label': visible ? 'Hide the password' : 'Show the password',
      }}
    />
  );
}
