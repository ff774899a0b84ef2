"""Cases: whom somebody searches for, why, by whose authority, where and for how long; and the photos that say whom."""
