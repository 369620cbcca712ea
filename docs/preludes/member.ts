import 'reflect-metadata';

import { IsArray, IsInt, IsOptional, IsString } from 'class-validator';
import type { Context } from 'koa';
import { Authorized, Body, Ctx, Delete, Get, JsonController, OnUndefined, Param, Post } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { Service } from 'typedi';

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
  @IsArray() @IsString({ each: true }) roles: string[] = [];
  @IsInt() visits = 0;
  @IsOptional() @IsString() theme?: string;
}

@Service()
@JsonController()
class Controller {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  /* snippet */
}
