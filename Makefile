# `make` lists what there is.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin
EMULATOR := .venv-emulator
LOCALSTACK := .venv-localstack
CODE   := app.py chalicelib host_container infra client/modelrocket benchmarks tests

SITE   := frontend
BUILT  := $(SITE)/dist/index.html
CDK    := infra/aws/cdk
NPM    := npm --prefix $(SITE) --loglevel error
NODE   := node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
IF_NODE_IS_HERE = if ! $(NODE) 2>/dev/null; then echo "The web UI is left as it is: Node 20.19 or newer is not here."; $(if $(CI),exit 1;) else
# What make was told itself: a variable of the environment may have the same name for another reason.
said = $(if $(findstring command line,$(origin $(1))),$(2) "$($(1))")
WITH = $(call said,PROFILE,--profile) $(call said,REGION,--region) $(call said,DOMAIN,--domain) \
	$(call said,CERTIFICATE,--certificate) $(call said,MONGO_URI_SECRET,--mongo-uri-secret) \
	$(call said,DOOR_CERTIFICATE,--door-certificate) $(call said,ALARM_EMAIL,--alarm-email) \
	$(call said,BUDGET_USD,--budget-usd) $(call said,SIGN_UP,--sign-up) $(call said,CONCURRENCY,--concurrency)
# A misspelt REGION would deploy elsewhere, and say nothing.
ifneq ($(filter deploy destroy,$(MAKECMDGOALS)),)
KNOWN := PROFILE REGION DOMAIN CERTIFICATE MONGO_URI_SECRET DOOR_CERTIFICATE ALARM_EMAIL BUDGET_USD SIGN_UP \
	CONCURRENCY MODELS ARGS PYTHON CI
OTHERS := $(filter-out $(KNOWN),$(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name))))
$(if $(OTHERS),$(error $(OTHERS): not known here, but $(KNOWN)))
endif
SITE_SOURCES = $(shell find $(SITE) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -name schema.d.ts)

export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup site demo up account compose-env test bench replay scale costs explain client-matrix check fix openapi package deploy destroy lock clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## create .venv and install everything from the locked files

site: $(BUILT) ## build the web UI, which the stack serves at /; needs Node 20.19 or newer
	@:

demo: $(VENV)/.installed ## start everything, deploy a real model, call it; Ctrl-C stops it
	@$(MAKE) --no-print-directory site || echo "It goes on without the newest web UI."
	@$(RUN)/python -m infra.local up --demo

up: $(VENV)/.installed ## start everything and keep it running; Ctrl-C stops it
	@$(MAKE) --no-print-directory site || echo "It goes on without the newest web UI."
	@$(RUN)/python -m infra.local up

account: $(VENV)/.installed ## a log-in for the running stack's web UI: EMAIL=you@example.com
	@$(RUN)/python -m infra.local account --email "$(EMAIL)"

compose-env: $(VENV)/.installed ## secrets for localstack-compose.yml, into .env; ARGS='--store localstack'
	@$(RUN)/python -m infra.compose env $(ARGS)

test: $(VENV)/.installed-dev $(EMULATOR)/.installed $(LOCALSTACK)/.installed $(CDK)/node_modules/.installed $(BUILT) ## run every test over the real servers
ifdef ARGS
	$(RUN)/python -m pytest $(ARGS)
else
	@$(IF_NODE_IS_HERE) $(NPM) test; fi
	$(RUN)/python -m pytest -n 3 --dist loadfile
endif

bench: $(VENV)/.installed ## measure everything, or BENCH=fairness; QUICK=1 ONLY=tiny PEERS=fastapi,litserve,mlserver,bentoml
	@$(RUN)/python -m benchmarks $(BENCH) $(if $(ONLY),--only $(ONLY)) $(if $(PEERS),--peers $(PEERS)) \
		$(if $(QUICK),--quick) $(ARGS)

replay: $(VENV)/.installed ## decide the local stack's last day again, bit for bit; ARGS='--what-if traffic=3'
	@$(RUN)/python -m benchmarks.replay $(ARGS)

simulate: $(VENV)/.installed ## scaling in virtual time on public traces: ARGS="--traces DIR", --quick, --write-docs
	@$(RUN)/python -m benchmarks.simulate $(ARGS)

scale: $(VENV)/.installed ## what breaks first at 10, 100 and 1,000 times the load: docs/scale.md; ARGS=--measure measures anew
	@$(RUN)/python -m benchmarks.scale --write-docs $(ARGS)

costs: $(VENV)/.installed ## what a deployment on AWS costs, by profile: writes the tables of docs/deploy.md
	@$(RUN)/python -m infra.aws.costs --write-docs

explain: $(VENV)/.installed ## where a model of the running stack is, and why: MODEL=digits; without, the fleet's decisions
	@$(RUN)/modelrocket fleet $(if $(MODEL),--explain "$(MODEL)",--decisions) $(ARGS)

client-matrix: $(VENV)/.installed-dev ## convert every model of every framework, or FAMILY=scikit_learn; ONLY=SVC WRITE=1
	@$(RUN)/python -m tests.matrix $(FAMILY) $(if $(ONLY),--only $(ONLY)) $(if $(WRITE),--write-docs) $(ARGS)

check: $(VENV)/.installed-dev $(SITE)/node_modules/.installed ## what must be green at every commit: style, types, layers
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy $(CODE)
	PYTHONPATH=.:client $(RUN)/lint-imports
	@$(IF_NODE_IS_HERE) $(NPM) run check; fi

fix: $(VENV)/.installed-dev ## repair what style can be repaired by machine
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .
	$(NPM) run fix

deploy: $(VENV)/.installed-aws $(CDK)/node_modules/.installed package site ## the platform in your AWS account: PROFILE=small REGION=…, see docs/deploy.md
	@$(RUN)/python -m infra.aws deploy $(WITH) $(ARGS)

destroy: $(VENV)/.installed-aws ## take it away from there; keeps the models, unless MODELS=delete: REGION=…
	@$(RUN)/python -m infra.aws destroy $(call said,REGION,--region) $(call said,MODELS,--models) $(ARGS)

openapi: $(VENV)/.installed ## write the API's description anew: docs/openapi.json
	@$(RUN)/python -c "import app; print(app.openapi.text(app.boundary.routes))" > docs/openapi.json

package: $(VENV)/.installed ## the control plane as Lambda takes it: build/lambda/modelrocket.zip; prints size and import time
	@$(RUN)/python -m infra.package

lock: $(VENV)/.installed-dev ## choose new versions and write the locked files
	$(RUN)/pip install -q uv
	for name in platform compose dev host host-gpu aws emulator localstack; do $(RUN)/uv pip compile -q --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header requirements/$$name.in -o requirements/$$name.txt; done
	$(RUN)/uv pip compile -q --upgrade --universal --python-version 3.11.3 -c requirements/platform.txt \
		--generate-hashes --no-header requirements/lambda.in -o requirements/lambda.txt
	for name in fastapi litserve mlserver bentoml; do $(RUN)/uv pip compile -q --upgrade --universal \
		--python-version 3.11 --generate-hashes --no-header benchmarks/peers/$$name.in \
		-o benchmarks/peers/$$name.txt; done
	$(RUN)/uv pip compile -q --no-deps --universal --python-version 3.11 \
		--generate-hashes --no-header requirements/mongo.in -o requirements/mongo.txt

clean: ## remove the virtual environment, what was built and the local stack's data
	rm -rf $(VENV) $(EMULATOR) $(LOCALSTACK) .rocket vendor build/lambda build/cdk.out build/bench build/bench-venvs $(SITE)/node_modules $(SITE)/dist \
		$(CDK)/node_modules

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "ModelRocket needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements/platform.txt requirements/mongo.txt client/pyproject.toml | $(VENV)/bin/python
	$(RUN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/platform.txt
	$(RUN)/pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/mongo.txt
	$(RUN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e client
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt requirements/aws.txt $(VENV)/.installed
	$(RUN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt -r requirements/aws.txt
	$(RUN)/pip install -q --disable-pip-version-check -r requirements/torch.txt
	@touch $@

$(VENV)/.installed-aws: requirements/aws.txt $(VENV)/.installed
	$(RUN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/aws.txt
	@touch $@

$(CDK)/node_modules/.installed: $(CDK)/package-lock.json
	@if $(NODE) 2>/dev/null; then npm --prefix $(CDK) --loglevel error ci --no-audit --no-fund && touch $@; fi

$(EMULATOR)/.installed $(LOCALSTACK)/.installed: .venv-%/.installed: requirements/%.txt | $(VENV)/bin/python
	$(RUN)/python -m venv .venv-$*
	.venv-$*/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@touch $@

$(SITE)/node_modules/.installed: $(SITE)/package-lock.json
	@if $(NODE) 2>/dev/null; then $(NPM) ci --no-audit --no-fund && touch $@; fi

$(BUILT): $(SITE_SOURCES) docs/openapi.json $(SITE)/node_modules/.installed
	@$(IF_NODE_IS_HERE) $(NPM) run build; fi
