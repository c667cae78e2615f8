"""What draws bodies in space: stills (`volume`), the scene that films draw with, rays, OpenGL, light, floor, legends, axes.

May import what all rooms share (`arguments`, `clock`, `fields`, `files`, `frames`) and no other room.
"""
