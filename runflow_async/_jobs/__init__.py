"""What a session does beside waiting: each module adds the methods of one concern to `RunflowSession`."""
