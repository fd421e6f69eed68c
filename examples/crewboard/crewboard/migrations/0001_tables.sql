-- The key of every tenant's row begins with company_id, and ids are made without sequences (uuidv7 needs
-- PostgreSQL 18): companies can later be spread over several databases, and moved between them, as they are.

CREATE TABLE companies (
    company_id  bigint PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    name        text NOT NULL,
    tier        text NOT NULL CHECK (tier IN ('enterprise', 'agency', 'starter')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    company_id     bigint NOT NULL REFERENCES companies,
    user_id        uuid NOT NULL DEFAULT uuidv7(),
    email          text NOT NULL,
    name           text NOT NULL,
    password_hash  text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, user_id),
    UNIQUE (company_id, email)
);

CREATE TABLE projects (
    company_id  bigint NOT NULL REFERENCES companies,
    project_id  uuid NOT NULL DEFAULT uuidv7(),
    name        text NOT NULL,
    created_by  uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, project_id),
    FOREIGN KEY (company_id, created_by) REFERENCES users
);

CREATE TABLE tasks (
    company_id  bigint NOT NULL,
    task_id     uuid NOT NULL DEFAULT uuidv7(),
    project_id  uuid NOT NULL,
    title       text NOT NULL,
    status      text NOT NULL DEFAULT 'todo' CHECK (status IN ('todo', 'doing', 'done')),
    due_on      date,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, task_id),
    FOREIGN KEY (company_id, project_id) REFERENCES projects
);
CREATE INDEX tasks_of_project ON tasks (company_id, project_id, task_id);
-- The dashboard is answered from this index alone.
CREATE INDEX tasks_by_status ON tasks (company_id, status) INCLUDE (project_id, due_on);

CREATE TABLE analyses (
    company_id   bigint NOT NULL REFERENCES companies,
    analysis_id  uuid NOT NULL DEFAULT uuidv7(),
    url          text NOT NULL,
    result       jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, analysis_id)
);

-- The queue. due_at says when a job may be claimed: for a queued job, when it should run; for a running one, when its
-- worker's lease ends. So a job whose worker died comes back by itself. `attempts` is the fence: only the worker that
-- made the present attempt may finish it.
CREATE TABLE jobs (
    company_id   bigint NOT NULL REFERENCES companies,
    job_id       uuid NOT NULL DEFAULT uuidv7(),
    kind         text NOT NULL,
    args         jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    attempts     int NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL DEFAULT now(),
    result       jsonb,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    PRIMARY KEY (company_id, job_id)
);
CREATE INDEX jobs_due ON jobs (due_at) WHERE state IN ('queued', 'running');

-- What was answered to a request that carried an idempotency key. Written in the transaction of the write itself.
CREATE TABLE idempotency_keys (
    company_id   bigint NOT NULL REFERENCES companies,
    key          text NOT NULL,
    fingerprint  bytea NOT NULL,
    status       int,
    body         text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE daily_summaries (
    company_id  bigint NOT NULL REFERENCES companies,
    day         date NOT NULL,
    todo        int NOT NULL,
    doing       int NOT NULL,
    done        int NOT NULL,
    PRIMARY KEY (company_id, day)
);

-- Operations, not tenants: one row for each run of the nightly job.
CREATE TABLE nightly_runs (
    run_id       uuid PRIMARY KEY DEFAULT uuidv7(),
    instance     text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);

-- The key that signs sessions where SESSION_KEY is not set, so that all instances on a developer's machine agree.
CREATE TABLE development_session_key (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key       text NOT NULL DEFAULT gen_random_uuid()::text || gen_random_uuid()::text
);
INSERT INTO development_session_key DEFAULT VALUES;
