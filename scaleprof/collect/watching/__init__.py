"""What the training does, seen by hooks: its steps, inputs, waits, operations, spans, tasks and pauses."""
