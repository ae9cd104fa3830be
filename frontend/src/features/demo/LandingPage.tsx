import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useEffect } from 'react';

import { siteQuery } from '@/lib/session';

import { Facts } from './Facts';
import { HowItWorks } from './HowItWorks';
import { LandingHeader } from './LandingHeader';
import classes from './LandingPage.module.css';
import { Live } from './Live';
import { ToStart } from './ToStart';

/** What this is, shown by doing it. */
export function LandingPage(): ReactElement {
  const site = useQuery(siteQuery);
  useEffect(() => {
    document.title = 'ModelRocket: a trained model becomes an API';
  }, []);
  return (
    <>
      <LandingHeader />
      <main className={classes.page}>
        <Live site={site}>
          <h1 className={classes.headline}>
            A trained model becomes an API in <em>one line.</em>
          </h1>
          <p className={classes.lead}>
            ModelRocket converts your model, proves that the copy answers like the original, and runs it:
            apart from everybody else’s, on as many hosts as the load asks for.
          </p>
          <ToStart />
          <p className={classes.takes}>
            scikit-learn, XGBoost, LightGBM, CatBoost, PyTorch, Keras, TensorFlow, JAX, Transformers, and ONNX
            files.
          </p>
        </Live>
        <HowItWorks />
        <Facts />
      </main>
      <footer className={classes.footer}>
        ModelRocket{site.data ? ` ${site.data.version}` : ''}. The whole API is described at{' '}
        <a href="/v1/openapi.json">/v1/openapi.json</a>.
      </footer>
    </>
  );
}
