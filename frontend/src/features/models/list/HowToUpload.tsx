import { Anchor, Stack, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Code } from '@/components/Code';

const INSTALL = 'pip install "modelrocket[sklearn]"';

/** The two lines that make a trained model an API, for this site. */
export function HowToUpload(): ReactElement {
  return (
    <Stack gap="md">
      <div>
        <Text fw={600} mb={6}>
          1. Install the client
        </Text>
        <Code code={INSTALL} language="bash" what="the installation" />
      </div>
      <div>
        <Text fw={600} mb={6}>
          2. Upload the model you have in memory
        </Text>
        <Code code={uploading(window.location.origin)} language="python" what="the upload" />
      </div>
      <Text size="sm" c="dimmed">
        <code>mr_…</code> is an API key with the scopes to read and write models:{' '}
        <Anchor component={Link} to="/keys" inherit>
          make one
        </Anchor>
        . The last two arguments are the type and shape of the input, where <code>None</code> is any number of
        rows. Models of PyTorch, XGBoost, LightGBM, CatBoost, Keras, TensorFlow, JAX and Transformers go the
        same way, and so do ONNX files.
      </Text>
    </Stack>
  );
}

function uploading(origin: string): string {
  return `import modelrocket, numpy as np
rocket = modelrocket.Client("${origin}", "mr_…")
rocket.upload(model, "my-model", np.float32, (None, 4))`;
}
