CREATE TABLE notifications (
    action_id    uuid PRIMARY KEY REFERENCES actions ON DELETE CASCADE,
    delivered_at timestamptz NOT NULL DEFAULT now()
);
