-- When the broker took responsibility for an action's message. An action without it has to be published again; by its state
-- alone it could not be told from one that waits in the queue of a busy executor.
ALTER TABLE actions ADD COLUMN published_at timestamptz;
UPDATE actions SET published_at = updated_at WHERE state <> 'accepted';

DROP INDEX actions_unfinished;
CREATE INDEX actions_unpublished ON actions (created_at) WHERE published_at IS NULL;
