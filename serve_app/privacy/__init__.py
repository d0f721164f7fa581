"""Privacy of users: pseudonyms, authenticated prediction ids, encrypted images."""
