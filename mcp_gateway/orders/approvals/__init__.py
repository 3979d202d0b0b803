"""A person's word on orders above the policy's line."""
