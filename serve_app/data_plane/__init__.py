"""The data plane, without Ray: `serving` provides its pools and its process."""
