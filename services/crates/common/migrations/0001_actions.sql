-- An action is what a client asked for; its steps are what the worker does; its history is who touched it and when.
CREATE TABLE actions (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL,
    source     text NOT NULL,
    items      jsonb NOT NULL,
    state      text NOT NULL DEFAULT 'accepted' CHECK (state IN ('accepted', 'dispatched', 'completed')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX actions_by_source ON actions (source, created_at DESC);
-- Few rows are unfinished at any time: the index that finds what got lost on the way stays small.
CREATE INDEX actions_unfinished ON actions (updated_at) WHERE state <> 'completed';

CREATE TABLE steps (
    action_id uuid NOT NULL REFERENCES actions ON DELETE CASCADE,
    position  integer NOT NULL,
    input     text NOT NULL,
    result    text,
    PRIMARY KEY (action_id, position)
);

CREATE TABLE history (
    sequence  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action_id uuid NOT NULL REFERENCES actions ON DELETE CASCADE,
    service   text NOT NULL,
    event     text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Messages are delivered at least once; an event happens once.
    UNIQUE (action_id, service, event)
);
