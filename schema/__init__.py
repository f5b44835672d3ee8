"""The contract that clients see: types, inputs, enums, unions. No SQL, no decisions."""
