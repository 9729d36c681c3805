"""Many sounds: manifests, tokenizing, token shards."""
