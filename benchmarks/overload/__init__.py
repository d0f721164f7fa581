"""What normal clients see while others overload or attack the service."""
