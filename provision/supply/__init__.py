"""What suppliers offer: the supply (model.py), read from Ansible inventories (inventory.py)."""
