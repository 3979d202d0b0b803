"""What an order may do, by a policy that a person wrote: pure but for reading the file."""
