import { Alert, Anchor, Code as Inline, Group, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import { StateBadge } from '@/components/StateBadge';
import { formatBytes } from '@/lib/format';
import { type Model, type Report, reportQuery, type Version, versionsQuery } from '@/lib/models';

import { roleOf } from './overview/versions';
import { ProgressSteps } from './Progress';
import { SignaturePanel } from './SignaturePanel';
import { position } from './stages';
import { useModel } from './useModel';
import { CertificatePanel } from './version/CertificatePanel';
import { DeleteVersion } from './version/DeleteVersion';
import { FindingsPanel } from './version/FindingsPanel';
import { OptimisationPanel } from './version/OptimisationPanel';
import { OriginPanel } from './version/OriginPanel';
import { PassportPanel } from './version/PassportPanel';
import { ReceiptPanel } from './version/ReceiptPanel';

const route = getRouteApi('/inside/models/$modelId/versions/$number');

/** The report of one version: all that was measured, proved and found. */
export function VersionPage(): ReactElement {
  const { number } = route.useParams();
  const model = useModel();
  const report = useQuery(reportQuery(model.id, number));
  const { data: versions } = useQuery(versionsQuery(model.id));
  const version = versions?.find((one) => one.number === number);
  return (
    <Stack>
      <Anchor
        size="sm"
        renderRoot={(props) => <Link to="/models/$modelId" params={{ modelId: model.id }} {...props} />}
      >
        ← All versions
      </Anchor>
      <Loaded query={report}>
        {(found) => (
          <>
            <Header model={model} report={found} version={version} />
            <Arrival report={found} version={version} />
            <Sections report={found} />
          </>
        )}
      </Loaded>
    </Stack>
  );
}

interface Props {
  report: Report;
  version: Version | undefined;
}

function Header({ model, report, version }: Props & { model: Model }): ReactElement {
  return (
    <Group justify="space-between">
      <div>
        <Group gap="sm">
          <Title order={2}>Version {report.number}</Title>
          <StateBadge state={version ? roleOf(version, model) : report.state} />
        </Group>
        <Text size="sm" c="dimmed">
          {report.framework || 'Unknown framework'}, {formatBytes(report.bytes)}, uploaded{' '}
          <Ago at={report.created_at} />
        </Text>
      </div>
      {version && <DeleteVersion model={model} version={version} />}
    </Group>
  );
}

function Arrival({ report, version }: Props): ReactElement | null {
  if (report.state === 'failed') {
    return (
      <Alert color="red" variant="light" title="It cannot be served">
        {report.reason ?? 'No reason was given.'}
        {report.refusal && (
          <Text size="sm" mt="xs">
            For programs: <Inline>{report.refusal}</Inline>. A version does not change: mend the model, and
            upload it again under the same name.
          </Text>
        )}
      </Alert>
    );
  }
  if (!version || position(version) === null) return null;
  return (
    <Panel title="On its way">
      <ProgressSteps version={version} since={version.created_at} />
    </Panel>
  );
}

function Sections({ report }: { report: Report }): ReactElement {
  const { signature, passport, certificate, optimisation, findings } = report;
  return (
    <>
      {signature && <SignaturePanel signature={signature} />}
      {passport && <PassportPanel passport={passport} />}
      {certificate && <CertificatePanel certificate={certificate} passport={passport} />}
      <ReceiptPanel receipt={report.receipt} />
      {optimisation && <OptimisationPanel optimisation={optimisation} />}
      {findings && <FindingsPanel findings={findings} />}
      <OriginPanel report={report} />
    </>
  );
}
