import { Button, Modal } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import type { ReactElement } from 'react';

import { HowToUpload } from './HowToUpload';

/** Uploads begin in Python, not here: the button shows how. */
export function UploadHint(): ReactElement {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button onClick={open}>Upload a model</Button>
      <Modal opened={opened} onClose={close} title="Upload a model" size="lg">
        <HowToUpload />
      </Modal>
    </>
  );
}
